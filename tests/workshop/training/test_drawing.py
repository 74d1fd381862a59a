"""Samples drawn by several processes are those that one would have drawn, in the same order."""

import pickle
from functools import partial

import torch

from refit_mv.motion.motion import Motion
from refit_mv.workshop.training.drawing import drawn
from refit_mv.workshop.training.sequence_samples import Takes
from refit_mv.workshop.training.sequences import SequenceDataOptions, SequenceRecipe, SequenceTrainer


def test_processes_keep_the_order_and_the_numbers():
    draw = partial(torch.full, (2, 3))
    alone, together = list(drawn(draw, range(9))), list(drawn(draw, range(9), workers=2))
    assert [row.tolist() for row in alone] == [row.tolist() for row in together]
    assert together[8].tolist() == [[8] * 3] * 2


def test_what_draws_windows_can_be_sent_to_another_process():
    still = Motion("1_01", 60.0, torch.zeros(50, 3).double(), torch.eye(3).double().expand(50, 24, 3, 3).clone())
    still.pelvis[:, 1] = 0.95
    takes = Takes.of([still], 48)
    trainer = SequenceTrainer(SequenceRecipe(data=SequenceDataOptions(variants=1)), takes, takes)
    window, recurrence = trainer.window(4)
    again, known = pickle.loads(pickle.dumps(trainer.window))(4)
    assert torch.equal(window.evidence.bearing, again.evidence.bearing)
    assert torch.equal(recurrence.hidden, known.hidden)
