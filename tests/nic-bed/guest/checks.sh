#!/bin/bash
# lsnd on two NICs of one model: the groups of checks that CHECKS names.
# shellcheck source=lib.sh
# shellcheck disable=SC2154  # what lib.sh sets
. /bed/lib.sh

# ends_with CODE WORDS: lsnd does not start, and says why in one line
ends_with() {
  local status
  timeout 30 /lsnd/lsnd --config /run/lsnd.conf >/tmp/log 2>&1
  status=$?
  tail -1 /tmp/log
  ((status == $1)) && tail -1 /tmp/log | grep -q "$2"
}

absent() {
  conf INSIDE=0000:00:1d.0
  check absent ends_with 1 'no such PCI device'
  # A virtual function has no driver of the kernel's here.
  [[ $MODEL == igbvf ]] || { conf; check kernels ends_with 1 "bound to the kernel's"; }
}

# reload_ok: other addresses while packets are on their way
reload_ok() {
  local pid
  in_ns cin ping -n -i 0.2 -c 30 -W 4 "$server" >/tmp/ping 2>&1 &
  pid=$!
  sleep 1
  conf 'POOL="198.51.100.16-198.51.100.27", "203.0.113.3-203.0.113.9"'
  /lsnd/lsnctl reload config || return 1
  wait "$pid"
  grep loss /tmp/ping
  grep -q ' 0% packet loss' /tmp/ping
}

basic() {
  hosts 1500
  conf
  check start start basic || return
  TO=10.1.0.1 check arp ping_ok
  check ping ping_ok
  check largest ping_ok 3 -s 1472 -M "do"
  check fragments ping_ok 3 -s 4000
  check frames frames_ok 1500
  check tcp tcp_ok
  check reload reload_ok
  /lsnd/lsnctl stat interface
  /lsnd/lsnctl show drops
  check stop stop
}

# seen WORDS COUNT: more lines of the log than that have the words
seen() { (($(grep -c "$1" "$log") > $2)); }
# link_ok SIDE: the cable is pulled out and put in again
link_ok() {
  local downs ups begin
  downs=$(grep -c 'link down' "$log")
  ups=$(grep -c 'link up' "$log")
  monitor "set_link dut$1 off"
  wait_for 15 seen 'link down' "$downs" || { echo "lsnd does not see the link go"; monitor "set_link dut$1 on"; return 1; }
  begin=$(date +%s%N)
  monitor "set_link dut$1 on"
  wait_for 20 seen 'link up' "$ups" || { echo "lsnd does not see the link come"; return 1; }
  echo "up after $((($(date +%s%N) - begin) / 1000000)) ms, $(ping_ok 4)"
  grep -q ' 0% packet loss' <<<"$(ping_ok 2)"
}
late_link_ok() {
  start late || return 1
  monitor "set_link dut1 on"
  wait_for 20 seen 'link up' 1 || { echo "lsnd does not see the link come"; return 1; }
  sleep 1
  ping_ok
}
link() {
  hosts 1500
  conf
  run link || return
  monitor ""
  check link0 link_ok 0
  check link1 link_ok 1
  stop
  monitor "set_link dut1 off"
  sleep 1
  check link-late late_link_ok
  monitor "set_link dut1 on"
  stop
}

start_and_ping() { start "$1" && ping_ok 3; }
restart() {
  hosts 1500
  conf
  run restart || return
  check restart-stop stop
  check restart start_and_ping again
  kill -KILL "$daemon"
  wait "$daemon" 2>/dev/null
  check killed start_and_ping killed
  stop
}

vlan() {
  hosts 1500 100 200
  conf "IN_MORE=vlan = 100;" "OUT_MORE=vlan = 200;"
  run vlan || return
  check vlan-ping ping_ok
  check vlan-largest ping_ok 3 -s 1472 -M "do"
  check vlan-frames frames_ok 1500
  check vlan-tcp tcp_ok
  stop
}

mac() {
  hosts 1500
  conf 'IN_MORE=mac = "02:00:00:00:00:01";' 'OUT_MORE=mac = "02:00:00:00:00:02";'
  run mac || return
  check mac ping_ok
  stop
}

mtu() {
  local size
  for size in 2030 9000; do
    hosts $size
    conf "IN_MORE=mtu = $size;" "OUT_MORE=mtu = $size;"
    run mtu$size || continue
    check mtu$size-ping ping_ok 3 -s $((size - 28)) -M "do"
    check mtu$size-frames frames_ok $size
    check mtu$size-tcp tcp_ok
    stop
  done
}

steering() {
  hosts 1500
  conf "WORKERS=1, 2" 'POOL="203.0.113.1-203.0.113.254"'
  run steering || return
  check steering-ping ping_ok 10
  check steering-frames frames_ok 1500
  check steering python3 /bed/steering.py "$IN" "$OUT" "$MODEL" first
  # Half of the addresses go: entries of the redirection table change under way.
  conf "WORKERS=1, 2" 'POOL="203.0.113.1-203.0.113.126"'
  /lsnd/lsnctl reload config
  sleep 2
  check steering-reload python3 /bed/steering.py "$IN" "$OUT" "$MODEL" second
  /lsnd/lsnctl stat worker
  /lsnd/lsnctl stat interface
  check steering-stop stop
}

unplug_ok() {
  ping_ok 2 || return 1
  monitor "device_del dut1"
  wait_for 60 grep -q disappeared "$log" || { echo "lsnd does not see it go"; return 1; }
  sleep 2
  lives || { echo "lsnd ended"; return 1; }
  TO=10.1.0.1 ping_ok 2 || return 1
  grep -m1 -o 'interface.*disappeared' "$log"
}
unplug() {
  # These are not at a PCI Express port.
  [[ $MODEL != e1000 && $MODEL != vmxnet3 && $MODEL != virtio-legacy ]] || return 0
  hosts 1500
  conf
  run unplug || return
  monitor ""
  check unplug unplug_ok
  stop
}

bring_up || { result FAILED guest "the guest does not see the NICs"; exit; }
lspci -nn | grep -i ethernet
huge_pages 420
hosts 1500
! wanted absent || absent
check bind bind || exit
# unplug is the last one: its device does not come back.
for group in basic link restart vlan mac mtu steering unplug; do
  wanted $group || continue
  say "$group"
  $group
done
dmesg | grep -iE 'DMAR|vfio|oops|segfault|fault|uio' | tail -15
: >/out/done
