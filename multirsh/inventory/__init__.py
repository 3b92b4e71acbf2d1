"""The inventory: hosts files, ranges, groups, selections, and the folding of names.

Everything here is pure, except for ``files``, which reads hosts files.
"""

from multirsh.inventory.draft import Group
from multirsh.inventory.fold import fold, natural_key
from multirsh.inventory.inventory import Inventory
from multirsh.inventory.ranges import expand

__all__ = ["Group", "Inventory", "expand", "fold", "natural_key"]
