# shellcheck shell=bash
# What the jobs in the guest share. Sourced, in an environment that scripts/nic-bed has written:
# MODEL, BIND, CHECKS.
#
#  guest:  cin (namespace) ── virtio-net ─┐ wire 0           wire 1 ┌─ virtio-net ── srv (namespace)
#          10.1.0.2                       └── dut0 ── lsnd ── dut1 ┘                198.51.100.10
#                                         (the model, by PCI address)
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
macs=(52:54:00:00:00:10 52:54:00:00:00:11)   # of lsnd's devices
peers=(52:54:00:00:00:20 52:54:00:00:00:21)
client=10.1.0.2 server=198.51.100.10
pci=()        # of lsnd's devices
daemon=       # lsnd's process
# What is left in the background would keep the guest from ending.
trap 'kill $(jobs -p) 2>/dev/null' EXIT

# ── results ───────────────────────────────────────────────────────────────────────────────────
# result PASSED|FAILED|NOTE CHECK words: a line of the table
result() {
  printf '%s\t%s\t%s\n' "$1" "$2" "$(tr -s ' \t\n' ' ' <<<"${*:3}" | cut -c1-400)" | tee -a /out/results
}
# check NAME COMMAND ...: passed if the command is; the last line it says is told
check() {
  local name=$1
  shift
  if "$@" >/tmp/check 2>&1; then
    result PASSED "$name" "$(tail -1 /tmp/check)"
  else
    result FAILED "$name" "$(tail -2 /tmp/check)"
    tail -40 /tmp/check
    return 1
  fi
}
wanted() { [[ " $CHECKS " == *" $1 "* ]]; }
say() { echo "[$(cut -d' ' -f1 /proc/uptime)] $*"; }

# wait_for SECONDS COMMAND ...: until it succeeds
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.25
  done
}

# A line for qemu's monitor, which is at the other end of the second serial port. The first is lost in
# what the probing of the port has left there.
monitor() {
  if [[ -z ${MONITOR:-} ]]; then
    MONITOR=1
    exec 8<>/dev/ttyS1
    stty -F /dev/ttyS1 raw -echo
    cat <&8 >>/out/monitor.log &
    for _ in 1 2; do printf '\r' >&8; sleep 1; done
  fi
  printf '%s\r' "$1" >&8
  sleep 0.3
}

# ── devices ───────────────────────────────────────────────────────────────────────────────────
interface_of() {  # by hardware address
  local path
  for path in /sys/class/net/*; do
    [[ $(cat "$path/address") != "$1" ]] || basename "$path"
  done
}
is_there() { [[ -n $(interface_of "$1") ]]; }
pci_of() {  # of the kernel's interface
  basename "$(readlink -f "/sys/class/net/$1/device" | sed 's,/virtio[0-9]*$,,')"
}

# bring_up: the kernel's drivers, PCI addresses, peers in their namespaces
bring_up() {
  local side interface
  modprobe -aq virtio_net e1000 e1000e igb vmxnet3 8021q
  for side in 0 1; do
    wait_for 20 is_there "${macs[side]}" && wait_for 20 is_there "${peers[side]}" || return 1
    interface=$(interface_of "${macs[side]}")
    pci[side]=$(pci_of "$interface")
    [[ $MODEL != igbvf ]] || take_vf "$side" "$interface"
  done
  modprobe -rq igbvf
  local names=(cin srv) links=(pin pout)
  for side in 0 1; do
    ip netns add "${names[side]}"
    ip link set "$(interface_of "${peers[side]}")" netns "${names[side]}" name "${links[side]}"
    in_ns "${names[side]}" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
    ip -n "${names[side]}" link set lo up
    ip -n "${names[side]}" link set "${links[side]}" up
  done
}
# A virtual function instead of its device, which stays with the kernel.
take_vf() {
  local side=$1 interface=$2
  ip link set "$interface" up
  echo 1 >"/sys/bus/pci/devices/${pci[side]}/sriov_numvfs"
  sleep 1
  ip link set "$interface" vf 0 mac "52:54:00:00:01:1$side" trust on
  pci[side]=$(basename "$(readlink "/sys/bus/pci/devices/${pci[side]}/virtfn0")")
}
huge_pages() {
  echo "$1" >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
}
bind() {
  local driver=vfio-pci device
  [[ $BIND != uio ]] || driver=uio_pci_generic
  modprobe "$driver" || return 1
  for device in "${pci[@]}"; do
    dpdk-devbind.py --force --bind="$driver" "$device" || return 1
  done
  dpdk-devbind.py --status-dev net | grep -A2 "DPDK-compatible" | tail -1
}

# ── peers ─────────────────────────────────────────────────────────────────────────────────────
in_ns() { ip netns exec "$@"; }
# hosts MTU [VLAN VLAN]: lsnd between them; sets IN and OUT, their interfaces
hosts() {
  local mtu=$1
  IN=pin OUT=pout
  ip -n cin link del pin.v 2>/dev/null
  ip -n srv link del pout.v 2>/dev/null
  ip -n cin addr flush dev pin
  ip -n srv addr flush dev pout
  ip -n cin link set pin mtu $((mtu + 4))
  ip -n srv link set pout mtu $((mtu + 4))
  if [[ -n ${2:-} ]]; then
    ip -n cin link add link pin name pin.v type vlan id "$2"
    ip -n srv link add link pout name pout.v type vlan id "$3"
    IN=pin.v OUT=pout.v
  fi
  ip -n cin link set $IN mtu "$mtu" up
  ip -n srv link set $OUT mtu "$mtu" up
  ip -n cin addr add $client/24 dev $IN
  ip -n srv addr add $server/24 dev $OUT
  ip -n cin route replace default via 10.1.0.1
  ip -n srv route replace 203.0.113.0/24 via 198.51.100.1
  ip -n cin neigh flush all
  ip -n srv neigh flush all
}

# ── lsnd ──────────────────────────────────────────────────────────────────────────────────────
# conf NAME=VALUE ...: WORKERS, INSIDE and OUTSIDE (devices), IN_MORE and OUT_MORE (of the interfaces),
# POOL, EAL
conf() {
  local WORKERS=1 INSIDE=${pci[0]} OUTSIDE=${pci[1]} IN_MORE='' OUT_MORE='' EAL='"--in-memory"'
  local POOL='"198.51.100.16-198.51.100.23", "203.0.113.3-203.0.113.9"'
  (($# == 0)) || local "$@"
  # Workers that always poll starve the others, where every CPU is emulated: powerSave.
  cat >/run/lsnd.conf <<END
dataplane: {
  workers = [ $WORKERS ]; maxSessions = 65536; stateFile = "/run/lsnd/state"; powerSave = true;
  eal = [ $EAL ];
};
interfaces = (
  { name = "inside"; role = "inside"; device = "$INSIDE"; address = "10.1.0.1/24"; $IN_MORE },
  { name = "outside"; role = "outside"; device = "$OUTSIDE"; address = "198.51.100.1/24"; $OUT_MORE }
);
routes = (
  { prefix = "10.64.0.0/10"; via = "$client"; },
  { prefix = "0.0.0.0/0"; via = "$server"; }
);
lsn: {
  client = ( { name = "C"; network = [ "10.1.0.0/24", "10.64.0.0/10" ]; } );
  pool = ( { name = "P"; lsnip = [ $POOL ]; } );
  group = ( { name = "G"; clientname = "C"; poolname = [ "P" ]; } );
};
END
}
answers() { /lsnd/lsnctl stat interface >/dev/null 2>&1; }
lives() { kill -0 "$daemon" 2>/dev/null; }
# start NAME: until it answers lsnctl; the log is /out/lsnd-NAME.log
start() {
  local begin=$SECONDS
  log=/out/lsnd-$1.log
  mkdir -p /run/lsnd
  /lsnd/lsnd --config /run/lsnd.conf >"$log" 2>&1 &
  daemon=$!
  until answers; do
    lives || { wait "$daemon"; echo "lsnd ended with $?: $(tail -1 "$log")"; return 1; }
    ((SECONDS < begin + 90)) || { echo "no answer in 90 s: $(tail -1 "$log")"; return 1; }
    sleep 0.25
  done
  sleep 1
  echo "in $((SECONDS - begin)) s: $(grep -o 'interface inside: device.*' "$log" | tail -1)"
}
has_ended() { ! lives; }
# stop: SIGTERM, and the exit code
stop() {
  local begin=$SECONDS status
  kill -TERM "$daemon" 2>/dev/null
  if ! wait_for 20 has_ended; then
    kill -KILL "$daemon"
    wait "$daemon"
    echo "it did not end within 20 s of SIGTERM"
    return 1
  fi
  wait "$daemon"
  status=$?
  daemon=
  echo "exit code $status, $((SECONDS - begin)) s"
  return $status
}
# run NAME: starts it for a group of checks; a failure is a result
run() {
  start "$1" >/tmp/start && return 0
  result FAILED "$1" "$(tail -1 /tmp/start)"
  kill -KILL "$daemon" 2>/dev/null
  wait "$daemon" 2>/dev/null
  return 1
}

# ── traffic ───────────────────────────────────────────────────────────────────────────────────
# ping_ok [COUNT [OPTION ...]]: from the subscriber to the server (or to TO), none lost
ping_ok() {
  local count=${1:-4} text
  shift
  text=$(in_ns cin ping -n -c "$count" -i 0.3 -W 10 "$@" "${TO:-$server}" | grep loss)
  echo "$text"
  grep -q ' 0% packet loss' <<<"$text"
}
listens() { in_ns srv ss -ltn | grep -q ":$1 "; }
# tcp_ok: 3 MB by HTTP, compared
tcp_ok() {
  local begin
  if ! listens 80; then
    mkdir -p /tmp/www
    head -c 3000000 /dev/urandom >/tmp/www/file
    in_ns srv python3 -m http.server 80 --directory /tmp/www >/dev/null 2>&1 &
    wait_for 60 listens 80 || { echo "no HTTP server"; return 1; }
  fi
  begin=$(date +%s%N)
  in_ns cin curl -sS --connect-timeout 20 --max-time 120 --retry 2 --retry-connrefused -o /tmp/got \
    "http://$server/file" && cmp /tmp/got /tmp/www/file || return 1
  echo "3 MB in $((($(date +%s%N) - begin) / 1000000)) ms"
}
frames_ok() { python3 /bed/frames.py "$IN" "$OUT" "$1"; }
