# A run loads parts of the program when it comes to them: they should be of one version.
lock=/run/delphi-agent/lock
if [ -e $lock ] && ! flock --exclusive --nonblock $lock true; then
    echo "delphi-agent: waiting for the run that is at work" >&2
    flock --exclusive --wait 420 $lock true || echo "delphi-agent: it still is; going on" >&2
fi
