#!/bin/bash
# The steps of docs/deployment.md, under systemd: an installation without the package (/out/tree), huge
# pages at run time, driverctl, the unit; with uio its drop-in too.
# shellcheck source=lib.sh
# shellcheck disable=SC2154,SC2119  # what lib.sh sets, and what may have no arguments
. /bed/lib.sh

property() { systemctl show -P "$1" lsnd; }
is_active() { [[ $(property ActiveState) == active ]]; }
active_and_ping() {
  is_active || { property ActiveState; return 1; }
  ping_ok 3
}
bind_by_driverctl() {
  local driver=vfio-pci device
  [[ $BIND != uio ]] || driver=uio_pci_generic
  for device in "${pci[@]}"; do driverctl set-override "$device" $driver || return 1; done
  driverctl list-overrides | paste -sd ' '
}
# The drop-in that the document has for uio_pci_generic: the settings of its table's row.
# shellcheck disable=SC2016  # backquotes of the document
uio_drop_in() {
  mkdir -p /etc/systemd/system/lsnd.service.d
  {
    echo '[Service]'
    grep -m1 '^| `uio_pci_generic`' /out/deployment.md | cut -d'|' -f3 | grep -o '`[^`]*`' | tr -d '`'
  } >/etc/systemd/system/lsnd.service.d/uio.conf
  systemctl daemon-reload
  cat /etc/systemd/system/lsnd.service.d/uio.conf
  (($(wc -l </etc/systemd/system/lsnd.service.d/uio.conf) > 1))
}
check_and_start() {
  lsnd --check --config /etc/lsnd/lsnd.conf && systemctl enable --now lsnd || return 1
  sleep 2
  active_and_ping
}
reload_unit() { systemctl reload lsnd && active_and_ping; }
bad_reload() {
  sed -i 's/clientname = "C"/clientname = "NOBODY"/' /etc/lsnd/lsnd.conf
  systemctl reload lsnd && { echo "the reload has not failed"; return 1; }
  sed -i 's/clientname = "NOBODY"/clientname = "C"/' /etc/lsnd/lsnd.conf
  active_and_ping
}
restart_unit() { systemctl restart lsnd && sleep 2 && active_and_ping; }
came_back() { [[ $(property ActiveState) == active && $(property MainPID) != "$1" && $(property NRestarts) -ge 1 ]]; }
killed() {
  local pid
  pid=$(property MainPID)
  systemctl kill -s KILL lsnd
  wait_for 60 came_back "$pid" || { echo "it does not come back"; return 1; }
  sleep 2
  active_and_ping
}
unit_ok() { systemd-analyze verify --man=no lsnd.service && echo "systemd-analyze verify has nothing to say"; }
may() { setpriv --reuid="$1" --regid="$1" --init-groups lsnctl stat interface >/tmp/may 2>&1; }
who_may() {
  may member || { cat /tmp/may; return 1; }
  ! may stranger || { echo "a stranger may"; return 1; }
  echo "members of the group may, a stranger: $(head -1 /tmp/may)"
}
stop_unit() {
  systemctl stop lsnd
  [[ $(property ActiveState) == inactive ]] || return 1
  echo "result $(property Result), exit code $(property ExecMainStatus)"
}
# One that the kernel has: the start fails, and is tried again until it is lsnd's.
late_device() {
  driverctl unset-override "${pci[1]}"
  systemctl start lsnd && { echo "the start has not failed"; return 1; }
  journalctl -u lsnd -o cat --no-pager | grep -m1 'error: interface outside'
  bind_by_driverctl || return 1
  wait_for 60 is_active || { echo "it is not tried again"; return 1; }
  sleep 2
  active_and_ping
}

bring_up || { result FAILED guest "the guest does not see the NICs"; exit; }
cp -a /out/tree/usr /
systemd-sysusers
systemd-tmpfiles --create
systemctl daemon-reload
useradd member
useradd stranger
usermod -aG lsnd member
check deploy-unit unit_ok
echo 420 >/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages
check deploy-driverctl bind_by_driverctl
hosts 1500
conf
mkdir -p /etc/lsnd
sed 's,stateFile = "/run/lsnd/state"; ,,' /run/lsnd.conf >/etc/lsnd/lsnd.conf
[[ $BIND != uio ]] || check deploy-drop-in uio_drop_in
check deploy-start check_and_start
check deploy-tcp tcp_ok
check deploy-reload reload_unit
check deploy-bad-reload bad_reload
check deploy-restart restart_unit
check deploy-killed killed
check deploy-who-may who_may
check deploy-stop stop_unit
check deploy-late late_device
systemctl stop lsnd
journalctl -u lsnd --no-pager >/out/journal.log
: >/out/done
