#!/bin/sh
# A cluster for executor cluster-generic: runs the job script in the background and prints a number for it.
"$1" > "$1.log" 2>&1 &
echo $!
