from auth.models import Base
from common import migrations

migrations.run("auth", Base.metadata)
