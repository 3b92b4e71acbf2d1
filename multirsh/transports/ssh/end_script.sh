# Ends what one command over SSH has left running, and says what is still there: one line on standard output,
#
#   KEY:left N away M blind B      N that could not be ended, M that have gone their own way; B=1: M is not known
#   KEY:strange                    nothing was done: the owners of processes cannot be determined here
#
# Fed to "/bin/sh -s KEY GRACE [asks]" in a second channel of the command's own connection. GRACE is the time from TERM to
# KILL, in hundredths of a second. With "asks", sudo may prompt, on standard output by "KEY:asks N%;" for its Nth call, and
# is answered on standard input. The parent of this shell is the process that serves the connection; its other
# children are what the command's channel started. They and their descendants are the command, and so are the other
# members of their sessions and process groups: those whose parents have ended.
#
# POSIX sh and awk; Linux's /proc where it is there, else ps(1).

key=$1 grace=$2 asks=$3 server=$PPID
PATH=$PATH:/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C
export PATH LC_ALL
kill_within=200
mark=SSH_CONNECTION=$SSH_CONNECTION
trusted='' family='' marked='' strangers='' left=0 has_sudo='' refusals=0 calls=0 blind=1
proc=''
if [ -r /proc/self/stat ]; then proc=yes; fi

table() { # every process: PID (NAME) STATE PARENT GROUP SESSION and so on, as in proc_pid_stat(5)
    if [ "$proc" ]; then
        cat /proc/[0-9]*/stat 2>/dev/null
    else # not every ps tells sessions: groups stand in for them
        ps -A -o pid= -o ppid= -o pgid= -o state= -o comm= 2>/dev/null |
            awk '{ sub(/.*\//, "", $5); sub(/:$/, "", $5); print $1, "(" $5 ")", $4, $2, $3, $3 }'
    fi
}

# Reads what is known, a word a line, then the table. Prints a word a line: PID:START:STATE for each process of the
# command, parents first; session:ID for each session of theirs; root:PID for those whose parent is the server;
# away:PID:LEADER for those that carry the connection's mark and are no part of the command; sudo; server:NAME.
# shellcheck disable=SC2016 # awk's, not the shell's
judge='
    index($0, "(") == 0 {
        split($0, word, ":")
        if (word[1] == "session") session[word[2]]
        else if (word[1] == "marked") marked[word[2]]
        else if (word[1] == "stranger") other[word[2]]
        else known[word[1]] = word[2]
        next
    }
    match($0, /\(.*\)/) {
        pid = $1 + 0
        name[pid] = substr($0, RSTART + 1, RLENGTH - 2)
        split(substr($0, RSTART + RLENGTH + 1), field, " ")
        state[pid] = field[1]; parent[pid] = field[2]; group[pid] = field[3]; sid[pid] = field[4]
        start[pid] = field[20]
    }
    function join(pid) { # it is of the command, and with it its session and its group
        member[pid]
        if (sid[pid] != sid[server] && sid[pid] != sid[me]) session[sid[pid]]
        if (group[pid] != group[server] && group[pid] != group[me]) groups[group[pid]]
    }
    function depth(pid, steps) {
        for (steps = 0; steps < 1000 && parent[pid] in member; steps++) pid = parent[pid]
        return steps
    }
    END {
        # This shell, what it starts, and what its login shell may have started.
        other[me]
        do {
            more = 0
            for (pid in parent)
                if (!(pid in other))
                    if (parent[pid] in other || (sid[pid] == sid[me] && sid[me] != sid[server])) {
                        other[pid]
                        more = 1
                    }
        } while (more)
        other[server]
        # Nothing of the command is older than the process that serves its connection. And what has ended, and
        # waits only to be asked how, is gone.
        for (pid in parent)
            if (start[pid] + 0 < start[server] + 0 || state[pid] ~ /[ZX]/) other[pid]
        # dropbear serves each connection in a session of its own, and runs the commands in that.
        if (trusted && proc && sid[server] == server) session[server]
        for (pid in parent)
            if (!(pid in other)) {
                if (parent[pid] == server) {
                    print "root:" pid
                    join(pid)
                }
                if (pid in known && known[pid] == start[pid]) join(pid)
            }
        do {
            more = 0
            for (pid in parent)
                if (!(pid in other) && !(pid in member))
                    if (parent[pid] in member || sid[pid] in session || group[pid] in groups) {
                        join(pid)
                        more = 1
                    }
        } while (more)
        for (pid in member) {
            if (name[pid] == "sudo") print "sudo"
            if (sid[pid] != sid[server]) seen[sid[pid]]
            level[pid] = depth(pid)
            if (level[pid] > deepest) deepest = level[pid]
        }
        for (id in seen) print "session:" id
        for (n = 0; n <= deepest; n++)
            for (pid in member)
                if (level[pid] == n) print pid ":" start[pid] ":" state[pid]
        for (pid in marked)
            if (pid in parent && !(pid in other) && !(pid in member))
                print "away:" pid ":" (sid[pid] in parent && state[sid[pid]] !~ /[ZX]/ ? "led" : "orphaned")
        print "server:" name[server]
    }'

look() { # sets $family to all that awk prints, and $left to how many processes there are in it
    family=$(
        {
            for word in $family $marked $strangers; do
                case $word in
                    [0-9]* | session:* | marked:* | stranger:*) echo "$word" ;;
                esac
            done
            table
        } | awk -v me=$$ -v server="$server" -v trusted="$trusted" -v proc="$proc" "$judge"
    )
    left=0
    for word in $family; do
        case $word in
            [0-9]*) left=$((left + 1)) ;;
            sudo) has_sudo=yes ;;
        esac
    done
}

signal() { # NAME: to each process of the command; parents first, so that no shell goes on to its next command
    refused=''
    for word in $family; do
        case $word in
            [0-9]*)
                pid=${word%%:*}
                kill "-$1" "$pid" 2>/dev/null || [ ! -d "/proc/$pid" ] || refused="$refused $pid"
                case $1$word in
                    TERM*:T) kill -CONT "$pid" 2>/dev/null ;; # it is stopped, and could not take the other
                esac
                ;;
        esac
    done
    if [ "$has_sudo" ]; then signal_by_sudo "$1"; fi
}

# To those that we may not signal. The command has used sudo, so this may, too; but where sudo does not let it, such
# as for want of a password, it is asked no more: each time is in the machine's log.
signal_by_sudo() { # NAME
    while [ "$refused" ] && [ $refusals -lt 2 ]; do
        same='' rest='' owner=''
        for pid in $refused; do
            user=$(user_of "$pid")
            : "${owner:=$user}"
            if [ "$user" = "$owner" ]; then same="$same $pid"; else rest="$rest $pid"; fi
        done
        # shellcheck disable=SC2086 # a list of words
        calls=$((calls + 1))
        if [ -z "$owner" ]; then
            :
        elif [ "$asks" ]; then # in a prompt, "%%" is one "%"; so a program that prints its arguments makes no prompt
            sudo -S -p "$key:asks $calls%%;" -u "#$owner" kill "-$1" $same <&3 2>&4 || refusals=$((refusals + 1))
        else
            sudo -n -u "#$owner" kill "-$1" $same >/dev/null 2>&1 || refusals=$((refusals + 1))
        fi
        refused=$rest
    done
}

user_of() { # PID: prints the user id that it runs as
    while read -r word user _; do
        if [ "$word" = Uid: ]; then echo "$user"; fi
    done <"/proc/$1/status"
} 2>/dev/null

until_gone() { # HUNDREDTHS [NAME]: look until nothing is left or the time is over, with the signal each time
    now
    end=$((now + $1))
    while [ "$left" -gt 0 ] && [ "$now" -lt "$end" ]; do
        [ -z "$2" ] || signal "$2"
        sleep 0.1 2>/dev/null || sleep 1
        look
        now
    done
}

now() { # sets $now, in hundredths of a second
    if [ "$proc" ]; then read -r now _ </proc/uptime; else now=$(date +%s).00; fi
    now=${now%.*}${now#*.}
}

find_marked() { # sets $marked to the processes with the connection's mark, and $blind if that cannot be determined
    marked='' blind=1
    [ "$proc" ] || return
    for how in -lzxF -lF; do # not every grep has the exact one
        # shellcheck disable=SC2013 # there is no blank in these names
        for file in $(grep $how "$mark" /proc/[0-9]*/environ 2>/dev/null); do
            pid=${file#/proc/}
            pid=${pid%/environ}
            marked="$marked marked:$pid"
            if [ "$pid" = $$ ]; then blind=0; fi # it finds this shell, so it does find
        done
        if [ $blind = 0 ]; then return; fi
    done
}

is_ours() { # PID: whether a child of the server is of this connection
    case $(tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep '^SSH_CONNECTION=') in
        "$mark") return 0 ;;
        '') [ "$trusted" ] ;; # not to be read, such as sudo's; or the command has cleared it
        *) return 1 ;;
    esac
} 2>/dev/null

adopt() { # The command's shell has ended, and its channel has not: what holds the output is of the command.
    find_marked
    look
    for word in $family; do
        case $word in
            away:*:orphaned)
                pid=${word#away:}
                pid=${pid%:*}
                case $(ls -l "/proc/$pid/fd/1" "/proc/$pid/fd/2" 2>/dev/null) in
                    *pipe:* | *socket:*) family="$family $pid:$(start_of "$pid"):S" ;;
                esac
                ;;
        esac
    done
    marked=''
    look
}

start_of() { # PID: when it was started
    stat=$(cat "/proc/$1/stat" 2>/dev/null)
    # shellcheck disable=SC2086 # to be split
    set -- ${stat##*")" }
    echo "${20}"
}

main() {
    look
    name=${family##*server:}
    if [ -z "$name" ] || [ -z "$SSH_CONNECTION" ]; then
        echo "$key:strange"
        return
    fi
    case $name in
        sshd | sshd-session | dropbear | dropbearmulti | tinysshd) trusted=yes ;; # a process for each connection
        *) [ "$proc" ] || { echo "$key:strange"; return; } ;;
    esac
    if [ "$proc" ]; then
        for word in $family; do
            case $word in
                root:*) is_ours "${word#root:}" || strangers="$strangers stranger:${word#root:}" ;;
            esac
        done
    fi
    family=''
    look
    if [ "$left" = 0 ] && [ "$proc" ]; then adopt; fi
    signal TERM
    until_gone "$grace"
    until_gone $kill_within KILL
    find_marked
    look
    away=0
    for word in $family; do
        case $word in
            away:*) away=$((away + 1)) ;;
        esac
    done
    echo "$key:left $left away $away blind $blind"
}

# On one line, so that nothing of the script is left for sudo to read.
{ main 3<&0 4>&1 </dev/null; exit; }
