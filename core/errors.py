"""UserError, whose message is for the user, and the test for full memory."""


class UserError(Exception):
    """The user's input cannot be used. The message is one line: the file, key or value, and what to do."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the host's or a GPU's memory was full; PyTorch's errors go by name, because its import takes seconds."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )
