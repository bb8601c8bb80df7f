# Docker's clients look for it here.
ln -s /run/docker-test/sock /run/docker.sock
# What Debian's units do before they start programs.
mkdir -p /run/sshd /run/scene
install -d -o postgres -g postgres /run/postgresql
cp /share/shell /usr/local/bin/echod
docker run -d --security-opt seccomp=unconfined --name client shell /shell serve 1
cat >/run/lib.sh <<'LIB'
cd /run/scene
ended() { # waits until a process has; nobody collects it
  for try in $(seq 400); do
    [ -e "/proc/$1/exe" ] || return 0
    sleep 0.02
  done
  return 1
}
end() { # SIGNAL NAME: ends what was started as NAME
  for f in "$2"*.pid; do
    [ -e "$f" ] || continue
    read -r p <"$f"
    kill "-$1" "$p" 2>&- || :
    ended "$p"
    rm -f "$f"
  done
}
as() { # USER NAME COMMAND...: starts it, and notes its number
  user=$1 name=$2
  shift 2
  setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups "$@" >>"$name.log" 2>&1 </dev/null &
  echo $! >"$name.pid"
}
waits() { # PORT COUNT: until so many sockets wait there
  for try in $(seq 400); do
    [ "$(ss -Hlntu "sport = :$1" | wc -l)" -ge "$2" ] && return
    sleep 0.02
  done
  cat ./*.log
  return 1
}
LIB
