"""For all tests: a shell that starts us in the background has us ignore Ctrl-C, and every program under
test would inherit that."""

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
