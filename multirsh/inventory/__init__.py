"""Text into hosts: hosts files, ranges, groups, selections, and names folded back.

Everything here is pure but ``files``, which reads them for ``Inventory.load``.
"""

from multirsh.inventory.draft import Group
from multirsh.inventory.fold import fold, natural_key
from multirsh.inventory.inventory import Inventory
from multirsh.inventory.ranges import expand

__all__ = ["Group", "Inventory", "expand", "fold", "natural_key"]
