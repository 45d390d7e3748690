from common import migrations
from sync.models import Base

migrations.run("sync", Base.metadata)
