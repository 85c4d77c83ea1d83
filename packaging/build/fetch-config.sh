# The contract's name for the S3 helper is /usr/local/bin/fetch-config. A package ships nothing below /usr/local, so it
# is made a link to /usr/bin/fetch-config here; a script of that name that was there before is put aside (running it
# would go past the agent's lock), and put back when the package is removed.
old=/usr/local/bin/fetch-config new=/usr/bin/fetch-config aside=/usr/local/bin/fetch-config.before-delphi-agent

take_fetch_config() {
    [ "$(readlink $old)" != $new ] || return 0
    # A read-only /usr/local, say: the name in /usr/bin does all the same.
    mkdir -p /usr/local/bin 2>/dev/null || return 0
    if [ -e $old ] || [ -L $old ]; then
        mv $old $aside || return 0
    fi
    ln -s $new $old || true
}

give_back_fetch_config() {
    [ "$(readlink $old)" = $new ] || return 0
    rm -f $old || return 0
    if [ -e $aside ] || [ -L $aside ]; then
        mv $aside $old || true
    fi
}
