"""The command trains what is not finished yet, and says what twice as many owners would bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from bind.commands.learning_curve import main, plan_cells, refuse_other_study


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed=3"], r"seed=3: the command sets this itself; seeds=\[0,1\]"),
        (["+data.owner_share=0.5"], "the command sets this itself"),
        (["shares=[0,1]"], "give shares above 0"),
        (["shares=[half]"], r"shares=\[half\]: give numbers"),
        (["shares=[0.99999,1]", "debug=tiny"], "choose shares of different numbers"),
        (["data.batchsize=3"], "batch_size"),
        (["debug=tiny", "data.batch_size=auto"], r"data\.batch_size=auto: fewer owners would get smaller batches"),
    ],
)
def test_what_is_wrong_is_said_before_anything_trains(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        main([*arguments, f"run_dir={tmp_path / 'curve'}"])
    assert not (tmp_path / "curve").exists()


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "bindspace learning-curve experiment=hapt" in capsys.readouterr().out


@pytest.mark.slow
def test_a_curve_of_the_toy_world_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["debug=tiny", "modalities=[imu]", f"cache.dir={tmp_path / 'cache'}"]
    folder = tmp_path / "curve"
    arguments = [*overrides, "shares=[0.5,1]", f"run_dir={folder}"]
    main(arguments)
    printed = capsys.readouterr().out
    assert "R@1 imu_to_image" in printed
    assert (folder / "learning_curve.png").is_file()
    header, *lines = (folder / "learning_curve.csv").read_text().splitlines()
    assert header.startswith("owners,share,seed,")
    assert len(lines) == 5
    half, whole = plan_cells(overrides, [0.5, 1.0], [0], folder)
    assert whole.num_owners == 2 * half.num_owners
    changed = [(cell.folder / "metrics.json").stat().st_mtime_ns for cell in (half, whole)]
    main(arguments)
    assert "finished before" in capsys.readouterr().out
    assert changed == [(cell.folder / "metrics.json").stat().st_mtime_ns for cell in (half, whole)]


def test_trainings_of_other_overrides_do_not_count(tmp_path: Path) -> None:
    folder = tmp_path / "curve"
    refuse_other_study(folder, ["modalities=[imu]", "debug=tiny"])
    refuse_other_study(folder, ["debug=tiny", "modalities=[imu]"])
    with pytest.raises(ValueError, match=r"a learning curve of other overrides \(modalities=\[imu\] debug=tiny\)"):
        refuse_other_study(folder, ["debug=tiny"])
