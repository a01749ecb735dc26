"""The verbs. One file each; a new one is a line in this table."""

from collections.abc import Mapping

from labctl.scenario.model import Step
from labctl.scenario.steps.authenticate import Authenticate
from labctl.scenario.steps.directory import AsSomebody
from labctl.scenario.steps.fault import Fault, Flush, Heal
from labctl.scenario.steps.hold import Hold, Release
from labctl.scenario.steps.kick import Kick
from labctl.scenario.steps.ldif import Ldif
from labctl.scenario.steps.log import Log
from labctl.scenario.steps.note import Note
from labctl.scenario.steps.pause import Pause
from labctl.scenario.steps.policy import Disable, Enable, Offboard, Set
from labctl.scenario.steps.queue import Queue
from labctl.scenario.steps.receive import Receive
from labctl.scenario.steps.resend import Resend
from labctl.scenario.steps.send import Send
from labctl.scenario.steps.sendmail import Sendmail
from labctl.scenario.steps.smtp import Smtp
from labctl.scenario.steps.unchanged import Unchanged
from labctl.scenario.steps.warned import Warned

TABLE: Mapping[str, type[Step]] = {
    step.verb: step
    for step in (
        Send,
        Resend,
        Receive,
        Queue,
        Log,
        Authenticate,
        Kick,
        Hold,
        Release,
        Disable,
        Enable,
        Offboard,
        Set,
        Ldif,
        AsSomebody,
        Fault,
        Heal,
        Flush,
        Warned,
        Smtp,
        Sendmail,
        Unchanged,
        Note,
        Pause,
    )
}
