#!/usr/bin/env bash
# Importing OpenVINO, to run a model and nothing else, reports the import to its maker and leaves an id in the home folder.
#
# Versions   openvino 2026.4.1, openvino-telemetry 2025.2.0 (which it installs), numpy 2.4.6, Python 3.11, Linux.
# Expected   A runtime that only runs a model file says nothing to anybody and writes nothing outside of what it is asked
#            to; collecting figures on use belongs to tools that one calls for development, and is asked for first.
# Seen       `import openvino` imports the model converter, whose package sends the event "import" before anything is
#            converted. Nobody is asked: where no choice is on file, the answer counts as yes. The home folder has
#            intel/openvino_ga_cid, a random id that stays, and a count of uses from then on; each later process adds to
#            the count. With CI=true in the environment, set before the import, nothing is written.
# Hurt       A product that ships the runtime to its customers' devices reports for them, from each process, also where
#            the device is metered or its traffic must be declared; images made after one trial import carry one id to
#            all devices. Whoever measures latency has a second process that tries to connect while it is measured.
#
# Prints what it sees. Exit 0: as described; 1: it has changed.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 openvino-telemetry==2025.2.0 \
    numpy==2.4.6

cat > "$here/run.py" <<'PYTHON'
import numpy as np
import openvino
from openvino import opset13

values = opset13.parameter([1, 3], np.float32)
model = openvino.Model([opset13.relu(values)], [values])
print(openvino.Core().compile_model(model, "CPU")([np.ones((1, 3), np.float32)])[0].tolist())
PYTHON

mkdir "$here/home" "$here/quiet"
usual() { env -u CI -u TF_BUILD -u JENKINS_URL HOME="$here/home" "$here/venv/bin/python" "$@"; }
failed=0
check() { # NAME, what was seen, what is expected to be seen
    printf '%-62s %s\n' "$1" "$2"
    [ "$2" = "$3" ] || { echo "  changed: it was $3"; failed=1; }
}

usual -c "import openvino"
check "files in the home folder after 'import openvino'" \
    "$(cd "$here/home" && find . -type f | sort | tr '\n' ' ')" "./intel/openvino_ga_cid ./intel/stats "
id=$(cat "$here/home/intel/openvino_ga_cid" 2> /dev/null || true)
before=$(tr -dc 0-9 < "$here/home/intel/stats" 2> /dev/null || true)
usual "$here/run.py" > /dev/null
check "the id after a second process, which runs a model" "$([ "$(cat "$here/home/intel/openvino_ga_cid")" = "$id" ] && echo same)" same
after=$(tr -dc 0-9 < "$here/home/intel/stats" 2> /dev/null || true)
check "the count of uses has grown" "$([ "${after:-0}" -gt "${before:-0}" ] && echo yes || echo no)" yes
env HOME="$here/quiet" CI=true "$here/venv/bin/python" "$here/run.py" > /dev/null
check "files in another home folder, with CI=true" "$(cd "$here/quiet" && find . -type f | wc -l)" 0
exit $failed
