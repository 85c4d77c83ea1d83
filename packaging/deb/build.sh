# shellcheck shell=sh
# The .deb: one for all architectures. Sourced by packaging/build.sh, which has these:
: "${work:?}" "${version:?}" "${out:?}"

make_deb() {
    root=$work/deb doc=$work/deb/usr/share/doc/delphi-agent
    make_root "$root" /usr/bin/python3
    mkdir -p "$doc" "$root/DEBIAN" "$root/usr/share/python3/runtime.d"
    install -m 755 packaging/deb/delphi-agent.rtupdate "$root/usr/share/python3/runtime.d/"
    for name in postinst prerm postrm; do
        fill "packaging/deb/$name" >"$root/DEBIAN/$name"
        chmod 755 "$root/DEBIAN/$name"
    done
    add_papers "$root" vendor-completions
    generate papers "$work/lib" "$version" copyright >"$doc/copyright"
    generate papers "$work/lib" "$version" changelog | gzip -9n >"$doc/changelog.gz"
    install -D -m 644 packaging/deb/lintian-overrides "$root/usr/share/lintian/overrides/delphi-agent"
    size=$(find "$root" -type f ! -path '*/DEBIAN/*' -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
    sed -e "s|@VERSION@|$version|" -e "s|@SIZE@|$size|" packaging/deb/control.in >"$root/DEBIAN/control"
    (cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum) >"$root/DEBIAN/md5sums"
    chmod 644 "$root/DEBIAN/control" "$root/DEBIAN/md5sums"
    settle "$root"
    # One thread: xz's output depends on their number.
    dpkg-deb --build --root-owner-group -Zxz -z6 --threads-max=1 "$root" "$out/delphi-agent_${version}_all.deb" >/dev/null
}
