# Completion of narration-cleanup for fish.
#
# The program itself says what fits, values such as run numbers included; where nothing does, files
# are offered.

function __narration_cleanup_complete
    set -l words (commandline -cp)
    set -l found (
        _TYPER_COMPLETE_ARGS="$words" _TYPER_COMPLETE_FISH_ACTION=get-args \
        _NARRATION_CLEANUP_COMPLETE=complete_fish narration-cleanup 2>/dev/null
    )
    if test -n "$found"
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command narration-cleanup --no-files --keep-order --arguments '(__narration_cleanup_complete)'
