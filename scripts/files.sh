# Shared by install.sh and deb.sh: reads packaging/files.
# shellcheck shell=bash

# files NAME=VALUE…: for each installed file a line: mode, `keep` or `-`, source, destination. The
# values stand for {NAME}; what would go to `-` is left out.
files() {
    local line mode keep from to pair source
    while read -r line; do
        [[ $line && $line != '#'* ]] || continue
        for pair; do line=${line//"{${pair%%=*}}"/${pair#*=}}; done
        read -r mode keep from to <<<"$line"
        if [[ $keep != keep ]]; then to=$from from=$keep keep=-; fi
        [[ $to != -* ]] || continue
        [[ $line != *[{}]* ]] || die "packaging/files: no value for '$line'"
        # A pattern that matches nothing stays as it is, and is missed by whoever copies it.
        for source in $from; do
            if [[ $to == */ ]]; then
                printf '%s %s %s %s\n' "$mode" "$keep" "$source" "$to${source##*/}"
            else
                printf '%s %s %s %s\n' "$mode" "$keep" "$source" "$to"
            fi
        done
    done <packaging/files
}
