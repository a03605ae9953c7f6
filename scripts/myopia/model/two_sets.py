"""The loss as a function of two sets of parameters, f(x, y): x makes the past, y the present (paper, Theorem 13).

For every position i, the passes before i run with x and pass i runs with y, where pass i reads the past's *hidden
states* through its own W_K and W_V (paper, Appendix A.1):

    f(x, y) = mean over i of l_i(x, ..., x, y).

At x = y, grad_y f is the myopic gradient (`to_myopic`, cut at hidden states), grad_x f the gradient that reaches the
parameters through later losses (the future part), and their sum the ordinary gradient. Nothing is detached, so f can be
differentiated as often as one likes and under `torch.func`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from myopia.model.attach import to_pair
from myopia.model.interface import Attachment


class TwoSets:
    """f of one model on one batch of inputs. The model stays attached until `to_vanilla(model)`.

    Attributes: `point` (the model's own parameters as one vector [p]), `names` (of its parameters, in order).
    """

    def __init__(self, model: nn.Module, inputs: Mapping[str, Any], position_losses: Callable[[Any], Tensor]) -> None:
        """Attach `model` (in place).

        Args:
            inputs: keyword arguments of the model's forward pass.
            position_losses: the model's output -> mean loss at each predicted position [P].
        """
        self.model, self.inputs, self.position_losses = to_pair(model.eval()), dict(inputs), position_losses
        parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        self.names = list(parameters)
        self._shapes = [p.shape for p in parameters.values()]
        self._sizes = [p.numel() for p in parameters.values()]
        self.point = torch.cat([p.flatten() for p in parameters.values()])

    def losses(self, past: Tensor, present: Tensor) -> Tensor:
        """l_i(x, ..., x, y) for every predicted position [P]; x and y are vectors [p]."""
        attachment: Attachment = self.model._myopia
        try:
            attachment.arm.form = "past"
            self._call(past)
            attachment.arm.form = "present"
            return self.position_losses(self._call(present))
        finally:
            for site in attachment.sites:  # no graph outlives the call
                site.recorded = site.past = None

    def loss(self, past: Tensor, present: Tensor) -> Tensor:
        """f(x, y): the mean of `losses`."""
        return self.losses(past, present).mean()

    def _call(self, vector: Tensor) -> Any:
        pieces = vector.split(self._sizes)
        parameters = {n: v.view(s) for n, v, s in zip(self.names, pieces, self._shapes, strict=True)}
        return torch.func.functional_call(self.model, parameters, kwargs=self.inputs)
