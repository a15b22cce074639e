"""NumPy's views of the tensors that a state consists of."""

from typing import Any

from numpy.typing import NDArray
from torch import Tensor


class Viewed:
    """Has tensors on the CPU, whose views are kept for as long as it has the same ones.

    To make a view takes several times as long as to read a number through it.
    """

    def view(self, name: str) -> NDArray[Any]:
        """The view of one of the tensors."""
        views: dict[str, tuple[Tensor, NDArray[Any]]] = self.__dict__.setdefault("_views", {})
        tensor, seen = getattr(self, name), views.get(name)
        if seen is None or seen[0] is not tensor:
            seen = views[name] = (tensor, tensor.detach().numpy())
        return seen[1]
