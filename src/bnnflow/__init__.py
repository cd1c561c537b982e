"""bnnflow: from a trained binary neural network to verified FPGA dataflow hardware.

The package's parts live in the folders `flow`, `models`, `transforms`, `build` and `sim`;
this module holds only what all of them share.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["CHECK_FAILED", "TOOL_MISSING", "USER_INPUT", "Problem", "__version__"]

CHECK_FAILED = 1
USER_INPUT = 2
TOOL_MISSING = 3


class Problem(Exception):
    """The one kind of error that is meant for users: printed once, without a traceback.

    Args:
        what: one sentence that says what is wrong, without a full stop at the end.
        where: the file, key, layer or tensor it was found in; may be empty.
        hint: what the user can do about it; may be empty.
        status: the exit status of the program: `CHECK_FAILED` (1, a check or budget failed),
            `USER_INPUT` (2, the user's input) or `TOOL_MISSING` (3, a tool is not installed).
    """

    def __init__(self, what: str, where: str = "", hint: str = "", status: int = USER_INPUT) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.status = status

    def __str__(self) -> str:
        """The lines a user sees: `what`, then `at:` and `hint:` where there are any."""
        lines = [self.what]
        if self.where:
            lines.append(f"  at: {self.where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)
