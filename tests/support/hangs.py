"""Has every look below a directory hang, as a disk or a network filesystem that does not answer does, until a line comes
on stdin: a FUSE filesystem over it whose server never reads a request (fuse(4)). Run as root."""
import ctypes
import os
import sys

directory = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
server = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={server},rootmode=40000,user_id=0,group_id=0,allow_other"
if libc.mount(b"hangs", directory.encode(), b"fuse", 0, options.encode()):
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), directory)
print("hangs", flush=True)
sys.stdin.readline()
MNT_DETACH = 2
libc.umount2(directory.encode(), MNT_DETACH)
# Whoever waits gets an error.
os.close(server)
