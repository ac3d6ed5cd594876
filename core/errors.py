"""The one kind of error a user is meant to read, and the one kind that nobody's input is to blame for."""


class UserError(Exception):
    """What the user gave cannot be used. The message is one line: the file, key or value, and what to do."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, on the host or on a GPU; another time there may be enough.

    PyTorch's errors go by name and words: it takes seconds to import, and not every script needs it.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )
