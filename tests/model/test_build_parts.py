import pytest
from support.batches import attention

from bind.model.binder import Binder


@pytest.mark.slow
def test_configs_that_do_not_add_up_are_refused(config):
    with pytest.raises(ValueError, match="audio has no encoder"):
        Binder.from_config({**config, "modalities": ["imu", "audio"]})
    with pytest.raises(ValueError, match="imu has no transform"):
        Binder.from_config({**config, "transform": {}})
    with pytest.raises(ValueError, match=r"fusion\.inputs needs at least two"):
        Binder.from_config({**config, "fusion": attention("imu")})
    with pytest.raises(ValueError, match=r"fusion\.inputs: \['audio'\] have no encoder"):
        Binder.from_config({**config, "fusion": attention("imu", "audio")})
