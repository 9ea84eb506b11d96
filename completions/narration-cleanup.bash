# Completion of narration-cleanup for bash.
#
# The program itself says what fits, values such as run numbers included; where nothing does, files
# are offered.

_narration_cleanup() {
    local IFS=$'\n'
    COMPREPLY=($(
        COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \
            _NARRATION_CLEANUP_COMPLETE=complete_bash "$1" 2>/dev/null
    ))
}

complete -o default -F _narration_cleanup narration-cleanup
