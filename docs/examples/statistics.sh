grep -q '^SigCgt:.*[89a-f]..$' "/proc/$PID/status" && kill -USR2 "$PID"
