"""Several processes that train together, started by `torchrun ... -m bnnflow build RECIPE`.

The first process builds as if it were alone and calls the others when it trains; they wait, take their share of each
batch, and write nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

_PATIENCE = timedelta(days=7)


def count() -> int:
    """How many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


@contextmanager
def join_processes() -> Iterator[bool]:
    """Join the other processes, if there are any; gives whether this is the first.

    When the block ends in the first process, the others are told that all is done.
    """
    if count() == 1:
        yield True
        return
    import torch
    import torch.distributed as dist

    # Its functions take the group that exists when it is first imported as their default: imported later (torch._dynamo
    # does, and Brevitas that), it would hold the group to the end, whose threads then die with the interpreter, and now
    # and then take the process with them ("terminate called without an active exception").
    import torch.distributed.nn.functional

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    else:
        backend = "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    first = dist.get_rank() == 0
    try:
        yield first
    finally:
        if first:
            with suppress(RuntimeError):
                call("done")
        dist.destroy_process_group()


def call(what: str) -> None:
    """From the first process: tell the others what to do; nothing where this process is alone or not the first."""
    if count() == 1:
        return
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_rank() == 0:
        dist.broadcast_object_list([what])


def await_call() -> str:
    """In the other processes: what the first tells them."""
    import torch.distributed as dist

    told = [""]
    dist.broadcast_object_list(told)
    return told[0]
