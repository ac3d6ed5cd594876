"""UserError, whose message is for the user, and the test for full memory."""

OUT_OF_MEMORY_WORDS = ("DefaultCPUAllocator: can't allocate memory", "can't start new thread", "std::bad_alloc")
"""Of a RuntimeError where memory is full."""


class UserError(Exception):
    """The user's input cannot be used. The message is one line: the file, key or value, and what to do."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the host's or a GPU's memory was full; PyTorch's errors go by name, because its import takes seconds."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(words in str(error) for words in OUT_OF_MEMORY_WORDS)
    )
