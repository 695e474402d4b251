"""A network's blocks, from below to above: what is frozen together, and what learns at a rate of its own.

A block is a residual block, a stage or a layer, as the network's authors have put them into its lists: it is
found by where lists lie, not by the network's name. All networks of torchvision and timm that were looked at
register their layers in the order in which they are passed.

Knows torch. Knows nothing of any network by name.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

LISTS = (nn.Sequential, nn.ModuleList)

Block = list[nn.Parameter]
"""The parameters that belong together."""


def blocks(network: nn.Module) -> list[Block]:
    """All parameters, each once; the last block is the layer that gives the classes.

    A norm, which has nothing but vectors, goes with the block before it. What the network holds outside of
    any layer, such as positions of patches, goes with the first.
    """
    found: list[Block] = []
    seen: set[int] = set()
    for module in _units(network):
        own = [parameter for parameter in module.parameters() if id(parameter) not in seen]
        seen.update(map(id, own))
        if found and all(parameter.dim() <= 1 for parameter in own):
            found[-1] += own
        elif own:
            found.append(own)
    loose = [parameter for parameter in network.parameters() if id(parameter) not in seen]
    if found:
        found[0] = loose + found[0]
    return found


def freeze_below(network: nn.Module, n_moving: int) -> None:
    """Leave the last layer and `n_moving` blocks below it as they are; all others no longer learn."""
    for block in blocks(network)[: -1 - n_moving]:
        for parameter in block:
            parameter.requires_grad_(False)


def to_training(network: nn.Module) -> None:
    """Training mode, but for the parts in which nothing learns: their norms and dropout stand still."""
    network.train()
    for module in network.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _units(network: nn.Module) -> Iterator[nn.Module]:
    """The modules that make up the network, in order."""
    children = [child for child in network.children() if _size(child)]
    if not children:
        yield network
    elif len(children) == 1:
        yield from _units(children[0])
    else:
        for child in children:
            yield from _opened(child, _size(network))


def _opened(child: nn.Module, whole: int) -> Iterator[nn.Module]:
    """What is in a list, or in a module around a list that holds most of the network; else the child."""
    if isinstance(child, LISTS):
        yield from child.children()
    elif any(isinstance(inner, LISTS) and 2 * _size(inner) > whole for inner in child.children()):
        for inner in child.children():
            yield from _opened(inner, whole)
    else:
        yield child


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
