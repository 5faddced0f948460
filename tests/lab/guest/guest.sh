# Second program of the guest, and its init: prepares what the job asks for, runs the command, ends the machine. Everything comes from and
# goes to /scratch, which the host reads: `job/` what to do, `exit` how it ended.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root HILBENCH_LAB_GUEST=1
mount -t tmpfs tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm

for port in /dev/vport*p1; do [ -e "$port" ] && exec >"$port" 2>&1 </dev/null; done

end() {
  printf '%s\n' "$1" >/scratch/exit
  # The host takes a machine that is off as the end; nothing here has to be saved.
  sync -f /scratch/exit
  echo o >/proc/sysrq-trigger
  # A built-in command: the root file system may go before this process does.
  wait
}

# A step that fails makes the rest meaningless: better no result than one about a half-made bench.
must() {
  "$@" && return
  echo "lab: cannot prepare the guest: \`$*\` failed" >&2
  end 125
}

# Waits for a condition, at most $1 seconds.
await() {
  local left=$(($1 * 20)); shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1)); [ "$left" -gt 0 ] || return 1
    sleep 0.05
  done
}

# If the host's side is gone, nobody ends this machine from outside.
( sleep "$(</scratch/job/backstop)"; echo o >/proc/sysrq-trigger ) &

mapfile -t shares </scratch/job/shares
for index in "${!shares[@]}"; do
  must mkdir -p "${shares[$index]}"
  must mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro "share$index" "${shares[$index]}"
done
# Both sides write to it, so nothing of it may be cached.
kept=$(</scratch/job/kept)
if [ -n "$kept" ]; then
  must mkdir -p "$kept"
  must mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none kept "$kept"
fi

# BlueZ 5.66 was seen to crash (once, while a connection was refused; the cause is not known). As a service manager may, this starts it again.
bluetooth() {
  while :; do
    /usr/libexec/bluetooth/bluetoothd -n >>/scratch/bluetoothd.log 2>&1
    echo "lab: bluetoothd has ended with $?, and is started again" >&2
    sleep 1
  done
}

must ip link set lo up
while read -r service; do
  case $service in
  udev)
    must mkdir -p /run/udev
    must /lib/systemd/systemd-udevd --daemon 2>/scratch/udevd.log
    must udevadm control --ping
    ;;
  usb) must modprobe vhci-hcd ;;
  ble)
    must modprobe hci_vhci
    must mkdir -p /run/dbus
    must dbus-daemon --system --fork
    bluetooth &
    must await 60 dbus-send --system --print-reply --dest=org.bluez / org.freedesktop.DBus.Peer.Ping
    ;;
  net) must modprobe -a veth sch_netem sch_tbf nf_tables ;;
  esac
done </scratch/job/services

while IFS= read -r -d '' assignment; do export "$assignment"; done </scratch/job/environment
mapfile -d '' -t command </scratch/job/command
must cd "$(</scratch/job/directory)"
"${command[@]}"
end $?
