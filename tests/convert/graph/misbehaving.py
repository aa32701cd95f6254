"""A program that crashes, hangs or fails, as asked."""

import os
import signal
import sys
import time

if sys.argv[1] == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
elif sys.argv[1] == "hang":
    time.sleep(600)
raise ValueError("this graph cannot be\nconverted, alas")
