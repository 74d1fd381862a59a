from refit_mv.workshop.synthetic.recording import LONGEST_WALK, made_up_recording


def test_a_long_recording_is_one_movement_about_one_place() -> None:
    """Nobody starts anew in another place: whoever follows them would take them for somebody else."""
    session = made_up_recording(2 * LONGEST_WALK + 5, 10.0, views=2, noise="none", seed=3)
    pelvis = session.truth.pelvis
    assert float(pelvis.diff(dim=0).norm(dim=-1).max()) < 0.4
    assert float(pelvis[:, [0, 2]].norm(dim=-1).max()) < 4
