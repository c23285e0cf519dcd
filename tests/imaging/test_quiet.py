"""Printing on one thread while others keep theirs quiet."""

import subprocess
import sys
import textwrap


def test_printing_while_other_threads_are_kept_quiet():
    """Half a second was enough to crash the process when what stood in for standard output was thrown away."""
    code = textwrap.dedent(
        """
        import sys, threading, time
        from fbamatte.imaging.quiet import captured_stdout
        sys.setswitchinterval(1e-6)
        end = time.monotonic() + 2
        caught = []
        def swap():
            while time.monotonic() < end:
                with captured_stdout() as said:
                    print("quiet")
                caught.append(said() == "quiet\\n")
        threads = [threading.Thread(target=swap) for _ in range(2)]
        [thread.start() for thread in threads]
        while time.monotonic() < end:
            print("loud", flush=True)
        [thread.join() for thread in threads]
        assert all(caught), "a thread's own words got out"
        """
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.splitlines()) == {"loud"}
