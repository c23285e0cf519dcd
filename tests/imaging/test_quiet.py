import sys
import threading

from fbamatte.imaging.quiet import captured_stdout


def test_catches_this_thread_and_no_other(capsys):
    inside, done = threading.Event(), threading.Event()

    def other():
        inside.wait()
        print("another thread's JSON")
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with captured_stdout() as printed:
        print("a library's warning")
        inside.set()
        assert done.wait(10)
        with captured_stdout() as nested:
            print("inner")
        assert nested() == "inner\n"
        print("after")
    thread.join()
    print("free again")
    assert printed() == "a library's warning\nafter\n"
    assert capsys.readouterr().out == "another thread's JSON\nfree again\n"


def test_many_threads_each_get_their_own(capsys):
    caught = {}

    def work(n):
        for _ in range(50):
            with captured_stdout() as printed:
                print(n)
                caught.setdefault(n, set()).add(printed())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert caught == {n: {f"{n}\n"} for n in range(8)}
    assert capsys.readouterr().out == ""


def test_stream_put_in_meanwhile_is_left_alone(monkeypatch, tmp_path):
    with (tmp_path / "log").open("w") as log, captured_stdout():
        monkeypatch.setattr(sys, "stdout", log)
    assert sys.stdout is log
