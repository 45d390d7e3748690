from catalog.models import Base
from common import migrations

migrations.run("catalog", Base.metadata)
