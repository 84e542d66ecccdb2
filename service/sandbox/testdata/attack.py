# Attacks by name; each prints what it could reach, and nothing else.
import ctypes, os, resource, socket, sys


def network():
    for family, address in [
        (socket.AF_INET, ("127.0.0.1", int(os.environ["PORT"]))),
        (socket.AF_INET, ("192.0.2.1", 80)),
        (socket.AF_INET, ("8.8.8.8", 53)),
        (socket.AF_UNIX, "\0" + os.environ["ABSTRACT"]),
        (socket.AF_UNIX, os.environ["SOCKET"]),
    ]:
        s = socket.socket(family, socket.SOCK_STREAM)
        s.settimeout(1)
        try:
            s.connect(address)
            print("connected to", address)
        except OSError:
            pass


def processes():
    seen = [p for p in os.listdir("/proc") if p.isdigit()]
    if len(seen) > 2:
        print("sees", seen)
    for pid in map(int, os.environ["PIDS"].split()):
        try:
            os.kill(pid, 0)
            print("can signal", pid)
        except OSError:
            pass
    for signal in (9, 15, 19):
        try:
            os.kill(1, signal)  # its own first process: nothing may happen
        except OSError:
            pass


def limits():
    for what in ("RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_FSIZE"):
        number = getattr(resource, what)
        try:
            resource.setrlimit(number, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            print("raised", what)
        except (ValueError, OSError):
            pass
    try:
        os.nice(-5)
        print("became less nice")
    except OSError:
        pass
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
        print("can't be killed for memory")
    except OSError:
        pass


def descriptors():
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            link = os.readlink("/proc/self/fd/%d" % fd)
        except OSError:
            continue
        if fd > 2 and not link.startswith("/proc"):
            print("holds", fd, link)


globals()[sys.argv[1]]()
print("done")
