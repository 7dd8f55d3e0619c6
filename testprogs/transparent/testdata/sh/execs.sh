# Programs that become others: scripts, interpreters of scripts, what cannot be executed.
echo 'exec echo last of the chain: "$@"' >c.sh
printf '#!/bin/sh\nexec sh c.sh "$@" b\n' >b.sh
printf '#!./b.sh a word\n' >a.sh
chmod +x a.sh b.sh
./b.sh x
./a.sh y; echo "status $?"
sh -c 'exec sh -c "exec sh -c \"exit 11\""'; echo "status $?"
env -i A=1 B='two words' sh -c 'echo "$A $B"'
env -i /usr/bin/env
./none 2>/dev/null; echo "status $?"
echo plain >plain; ./plain 2>/dev/null; echo "status $?"
. ./c.sh 2>/dev/null
