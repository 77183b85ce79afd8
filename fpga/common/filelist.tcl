# The sources of a .f file of rtl/: paths relative to it, nested lists (-F), +incdir+. Returns {sources includes}.
proc read_filelist {path} {
    set sources {}
    set includes {}
    set here [file dirname [file normalize $path]]
    set channel [open $path]
    foreach line [split [read $channel] "\n"] {
        set line [string trim [regsub {(//|#).*} $line {}]]
        if {$line eq ""} {
            continue
        } elseif {[string match "+incdir+*" $line]} {
            lappend includes [file normalize [file join $here [string range $line 8 end]]]
        } elseif {[string match "-F *" $line]} {
            set nested [file join $here [string trim [string range $line 3 end]]]
            lassign [read_filelist $nested] more_sources more_includes
            lappend sources {*}$more_sources
            lappend includes {*}$more_includes
        } else {
            lappend sources [file normalize [file join $here $line]]
        }
    }
    close $channel
    return [list [unique $sources] [unique $includes]]
}

# A list without repetitions, in order.
proc unique {values} {
    set seen [dict create]
    foreach value $values {
        dict set seen $value 1
    }
    return [dict keys $seen]
}
