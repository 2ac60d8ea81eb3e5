import subprocess
import sys

import pytest

from bind.cache.claims import Claims

ANOTHER = """
import sys
from pathlib import Path
from bind.cache.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.lock(0), claims.lock(1), claims.signs_of_life(0).get("signs"), claims.signs_of_life(5), flush=True)
"""


def told_by_another(path):
    return subprocess.run([sys.executable, "-c", ANOTHER, path], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow  # processes are started
def test_what_one_process_has_no_other_one_gets_until_it_is_left(tmp_path):
    claims = Claims(tmp_path / "claims")
    assert claims.lock(0)
    claims.add(0)
    claims.show_life()
    claims.show_life()
    assert told_by_another(tmp_path / "claims") == "False True 2 {}\n"
    claims.release(0)
    assert told_by_another(tmp_path / "claims").startswith("True True")
    assert claims.lock(0)
    claims.close()
    assert told_by_another(tmp_path / "claims").startswith("True True"), "claims end with the file"


def test_a_record_that_is_just_being_written_says_nothing(tmp_path):
    (tmp_path / "claims").write_text('{"pid": 12, "ho')
    assert Claims(tmp_path / "claims").signs_of_life(0) == {}
