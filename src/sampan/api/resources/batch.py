"""batch/v1 in one list: Jobs and CronJobs."""

from sampan.api.resources.cron_jobs import CRON_JOB
from sampan.api.resources.jobs import JOB

RESOURCES = (CRON_JOB, JOB)
