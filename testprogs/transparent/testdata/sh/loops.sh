# Many short processes.
i=0
while [ $i -lt 100 ]; do
	[ "$(expr $i + 1 | cat)" -eq $((i + 1)) ] || echo "wrong at $i"
	i=$((i + 1))
done
echo "$i rounds"
find /usr/bin -name 'z*' | sort | xargs -n 5 echo | wc -w
printf '%s\n' 3 1 2 | xargs -P 3 -n 1 sh -c 'exit 0'; echo "xargs $?"
