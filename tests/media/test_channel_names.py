import pytest

from bind.media.channel_names import BODY_PARTS, QUANTITIES, find_triads, read_meanings


def test_names_say_place_number_and_axis_and_units_the_quantity():
    channels = ["acc_x", "right_wrist_gyro2_Y", "Chest_temperature", "left_mag_z", "pulse", "wristband"]
    units = ["g", "deg/s", "degC", "uT", "bpm", "hPa"]
    read = read_meanings(channels, units, "a.csv")
    assert [(m.quantity, m.axis, m.place, m.number) for m in read] == [
        ("acceleration", "x", "", 1),
        ("angular rate", "y", "right_wrist", 2),
        ("temperature", "", "chest", 1),
        ("magnetic field", "z", "left", 1),
        ("pulse rate", "", "", 1),
        ("pressure", "", "", 1),
    ]


def test_one_quantity_in_other_units_means_the_same():
    a, b = (read_meanings(["acc_x"], [unit], "a.csv") for unit in ("g", "m/s^2"))
    assert a == b


@pytest.mark.parametrize(
    ("channels", "units", "message"),
    [
        (["force"], ["N"], r"a.csv: what force measures is not known, its unit is 'N'.*transform.imu.channels"),
        (["acc_x", "accel_x"], ["g", "m/s^2"], r"a.csv: acc_x and accel_x both mean the acceleration along x: name"),
        (["acc5_x"], ["g"], "a.csv: acc5_x is sensor 5"),
        (["acc-x", "acc-y"], ["g", "g"], "acc-x and acc-y both mean the acceleration: name"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_with_the_remedy(channels, units, message):
    with pytest.raises(ValueError, match=message):
        read_meanings(channels, units, "a.csv")


def test_a_triad_has_three_axes_of_one_sensor():
    channels = ["acc_z", "acc_x", "wrist_acc_x", "acc_y", "gyro_x", "gyro_y", "pressure"]
    meanings = read_meanings(channels, ["g"] * 4 + ["rad/s"] * 2 + ["Pa"], "a.csv")
    assert find_triads(meanings) == {("", "acceleration", 1): [1, 3, 0]}


def test_ids_of_saved_binders_stay():
    """Encoders were trained with these positions: new names go to the end."""
    assert QUANTITIES[:5] == ("acceleration", "angular rate", "magnetic field", "pressure", "temperature")
    assert [BODY_PARTS.index(part) for part in ("", "head", "waist", "wrist", "ankle", "foot")] == [0, 1, 6, 13, 21, 22]
