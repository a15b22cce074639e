"""How a process that answers requests uses the machine; said here and nowhere else."""


def settle() -> None:
    """One thread for torch, and one pool of freed memory for all threads.

    With two, each worker thread has a helper of its own that waits by turning: as soon as anything
    else runs on the machine, a prompt of 4 KB that one thread reads in 0.33 s takes 2.7 s (two
    cores, both busy). On an idle machine the second thread gains little, since what follows the
    prompt is fed in steps too small to share.
    """
    import torch

    from codebyte.memory import share_freed_memory

    share_freed_memory()
    torch.set_num_threads(1)
