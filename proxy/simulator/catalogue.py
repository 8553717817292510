"""What a simulated Shoprenter shop holds: seeded, the same on every run, and changed by what clients write.

Nothing is stored for a shop until somebody writes to it: every resource is computed from the seed, the shop's name and
its number, so ten thousand shops cost nothing. Values are strings, as the platform sends them; links are absolute
URLs under the `base` that is passed in. The fields are a selection of the documented ones, with invented contents.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Item = dict[str, Any]

# Fields that belong to the platform: what a client writes there is ignored.
OWN_FIELDS = frozenset({"href", "id", "innerId"})

ALL_METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
NOUNS = ("Bögre", "Póló", "Kés", "Lámpa", "Teáskanna", "Hátizsák", "Sál", "Füzet")
ADJECTIVES = ("piros", "kézműves", "vízálló", "összecsukható", "gyapjú", "kerámia", "retró", "könnyű")
MANUFACTURERS = 8
TAX_CLASSES = 2


@dataclass(frozen=True)
class Kind:
    """A kind of resource, such as `products`.

    `id_format`: the text whose base64 form is the id, with `{}` for the number.
    `scope`: the noun in the scopes that calls need (`product` in `product:read`).
    `members`: the kind that decides which numbers exist; `fields`: the kind that keeps what clients wrote.
    """

    name: str
    id_format: str
    scope: str
    members: str
    fields: str
    methods: frozenset[str]
    build: Callable[[Shop, int, str], Item]


class Shop:
    """One shop's resources. Numbers ("inner ids") count from 1 in each kind."""

    def __init__(self, name: str, products: int, seed: int) -> None:
        self.name = name
        self._seed = seed
        self._start = {
            "products": products,
            "categories": products // 10 + 1,
            "manufacturers": MANUFACTURERS,
            "taxClasses": TAX_CLASSES,
            "orders": products // 2,
        }
        self._added: dict[str, list[int]] = {}
        self._removed: dict[str, set[int]] = {}
        self._written: dict[tuple[str, int], Item] = {}
        self._outer_ids: dict[tuple[str, int], str] = {}

    def numbers(self, kind: Kind) -> Sequence[int]:
        """The numbers of all resources of `kind`, ascending."""
        start = range(1, self._start[kind.members] + 1)
        added = self._added.get(kind.members, [])
        removed = self._removed.get(kind.members, set())
        if not added and not removed:
            return start
        return [number for number in (*start, *added) if number not in removed]

    def exists(self, kind: Kind, number: int) -> bool:
        """Whether there is a resource of `kind` with this number."""
        if number in self._removed.get(kind.members, ()):
            return False
        return 1 <= number <= self._start[kind.members] or number in self._added.get(kind.members, ())

    def find(self, kind: Kind, resource_id: str) -> int | None:
        """The number behind an id, the platform's own or an outer one; None if there is no such resource."""
        for (members, number), outer_id in self._outer_ids.items():
            if members == kind.members and outer_id == resource_id:
                return number
        number_or_none = _number_in(kind, resource_id)
        return number_or_none if number_or_none is not None and self.exists(kind, number_or_none) else None

    def id_of(self, kind: Kind, number: int) -> str:
        """The id of a resource: the outer one if it was created with one."""
        outer_id = self._outer_ids.get((kind.members, number)) if kind.members == kind.fields else None
        return outer_id or base64.b64encode(kind.id_format.format(number).encode()).decode("ascii")

    def item(self, kind: Kind, number: int, base: str) -> Item:
        """The whole resource."""
        built = {
            "href": self.href(kind, number, base),
            "id": self.id_of(kind, number),
            "innerId": str(number),
            **kind.build(self, number, base),
        }
        return built | self._written.get((kind.fields, number), {})

    def href(self, kind: Kind, number: int, base: str) -> str:
        """The absolute URL of a resource."""
        # An outer id may hold anything; base64's `=` stands as it is in the platform's own hrefs.
        return f"{base}{kind.name}/{quote(self.id_of(kind, number), safe='=+')}"

    def add(self, kind: Kind, fields: Mapping[str, Any]) -> int:
        """Create a resource; an `id` among the fields becomes its outer id. Returns its number."""
        added = self._added.setdefault(kind.members, [])
        number = (added[-1] if added else self._start[kind.members]) + 1
        added.append(number)
        if fields.get("id"):
            self._outer_ids[(kind.members, number)] = str(fields["id"])
        self.write(kind, number, fields)
        return number

    def write(self, kind: Kind, number: int, fields: Mapping[str, Any]) -> None:
        """Change these fields of a resource."""
        written = self._written.setdefault((kind.fields, number), {})
        written.update({name: _as_php_prints(value) for name, value in fields.items() if name not in OWN_FIELDS})

    def remove(self, kind: Kind, number: int) -> None:
        """Delete a resource; its number is not used again."""
        self._removed.setdefault(kind.members, set()).add(number)
        self._outer_ids.pop((kind.members, number), None)

    def sku(self, number: int) -> str:
        """The article number of a product."""
        written = self._written.get(("products", number), {}).get("sku")
        return str(written) if written else f"SKU-{number:05d}"

    def product_with_sku(self, sku: str) -> int | None:
        """The product with this article number, if there is one."""
        return next((number for number in self.numbers(KINDS["products"]) if self.sku(number) == sku), None)

    def pick(self, choices: int, what: str, number: int) -> int:
        """A number below `choices`, always the same for the same shop, `what` and `number`."""
        return crc32(f"{self._seed}/{self.name}/{what}/{number}".encode()) % choices


class Catalogue:
    """All shops of a platform, each with `products` products to start with, different ones for each `seed`."""

    def __init__(self, products: int, seed: int) -> None:
        self._products = products
        self._seed = seed
        self._changed: dict[str, Shop] = {}

    def shop(self, name: str) -> Shop:
        """The shop called `name`, to read from."""
        return self._changed.get(name) or Shop(name, self._products, self._seed)

    def shop_to_change(self, name: str) -> Shop:
        """The shop called `name`, kept from now on."""
        return self._changed.setdefault(name, self.shop(name))


def _number_in(kind: Kind, resource_id: str) -> int | None:
    try:
        text = base64.b64decode(resource_id, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    before, _, after = kind.id_format.partition("{}")
    digits = text.removeprefix(before).removesuffix(after)
    # Written back, it must be the same text: `+1`, `01` and other prefixes are no ids.
    is_number = digits.isdecimal() and len(digits) < 10
    return int(digits) if is_number and kind.id_format.format(int(digits)) == text else None


def _as_php_prints(value: Any) -> Any:
    """Scalars become the strings the platform answers with; structures and null stay."""
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if isinstance(value, int | float) else value


def _link(shop: Shop, kind: str, number: int, base: str) -> Item:
    return {"href": shop.href(KINDS[kind], number, base)}


def _name(shop: Shop, number: int) -> str:
    adjective = ADJECTIVES[shop.pick(len(ADJECTIVES), "adjective", number)]
    return f"{adjective.capitalize()} {NOUNS[shop.pick(len(NOUNS), 'noun', number)].lower()} {number}"


def _product(shop: Shop, number: int, base: str) -> Item:
    own_id = quote(shop.id_of(KINDS["products"], number), safe="=")
    day = shop.pick(28, "day", number) + 1
    return {
        "sku": shop.sku(number),
        "modelNumber": f"M/{number}",
        "orderable": "1",
        "price": f"{(shop.pick(1400, 'price', number) + 1) * 100}.0000",
        "multiplier": "1.0000",
        "multiplierLock": "0",
        "loyaltyPoints": "0",
        "stock1": str(shop.pick(200, "stock", number)),
        "stock2": "0",
        "subtractStock": "1",
        "mainPicture": f"product/{shop.name}-{number}.jpg",
        "width": "0.00",
        "height": "0.00",
        "length": "0.00",
        "weight": f"{shop.pick(90, 'weight', number) / 10:.2f}",
        "status": "1",
        "imageAlt": _name(shop, number),
        "shipped": "1",
        "minimalOrderNumber": "1",
        "maximalOrderNumber": "0",
        "gtin": f"599{shop.pick(10**9, 'gtin', number):09d}",
        "parentProduct": None,
        "dateCreated": f"2025-03-{day:02d}T08:00:00",
        "dateUpdated": f"2025-04-{day:02d}T09:30:00",
        "taxClass": _link(shop, "taxClasses", shop.pick(TAX_CLASSES, "tax", number) + 1, base),
        "manufacturer": _link(shop, "manufacturers", shop.pick(MANUFACTURERS, "maker", number) + 1, base),
        "productDescriptions": {"href": f"{base}productDescriptions?productId={own_id}"},
    }


def _product_extend(shop: Shop, number: int, base: str) -> Item:
    descriptions = KINDS["productDescriptions"]
    nested = {"productDescriptions": [shop.item(descriptions, number, base)]}
    return _product(shop, number, base) | nested


def _product_description(shop: Shop, number: int, base: str) -> Item:
    return {
        "name": _name(shop, number),
        "shortDescription": f"<p>{_name(shop, number)} & más</p>",
        "description": f'<p>Bővebben: <a href="https://{shop.name}.example/{number}?a=1&b=2">itt</a></p>' * 3,
        "product": _link(shop, "products", number, base),
    }


def _category(shop: Shop, number: int, base: str) -> Item:
    # A tree in which every parent comes before its children, so that no category is its own ancestor.
    parent = shop.pick(number, "parent", number)
    return {
        "picture": "",
        "sortOrder": str(number),
        "status": "1",
        "productsStatus": "1",
        "name": f"{NOUNS[number % len(NOUNS)]} {number}",
        "parentCategory": _link(shop, "categories", parent, base) if parent else None,
    }


def _manufacturer(shop: Shop, number: int, base: str) -> Item:
    return {"name": f"Gyártó {number}", "picture": "", "sortOrder": str(number)}


def _tax_class(shop: Shop, number: int, base: str) -> Item:
    return {"name": f"{(27, 5)[(number - 1) % 2]}% ÁFA"}


def _order(shop: Shop, number: int, base: str) -> Item:
    return {
        "invoiceId": str(1000 + number),
        "firstname": "Minta",
        "lastname": f"Vevő {number}",
        "email": f"vevo{number}@example.com",
        "total": f"{(shop.pick(900, 'total', number) + 1) * 100}.0000",
        "currency": "HUF",
        "dateCreated": f"2025-05-{shop.pick(28, 'ordered', number) + 1:02d}T10:00:00",
        "product": _link(shop, "products", shop.pick(number, "ordered product", number) + 1, base),
    }


def _kinds() -> dict[str, Kind]:
    read_and_change = frozenset({"GET", "PUT"})
    description_id = "productDescription-product_id={}&language_id=1"
    kinds = (
        Kind("products", "product-product_id={}", "product", "products", "products", ALL_METHODS, _product),
        # The same products, with their descriptions inside instead of linked.
        Kind("productExtend", "product-product_id={}", "product", "products", "products", ALL_METHODS, _product_extend),
        Kind(
            "productDescriptions", description_id, "product", "products", "productDescriptions",
            read_and_change, _product_description,
        ),
        Kind("categories", "category-category_id={}", "category", "categories", "categories", ALL_METHODS, _category),
        Kind(
            "manufacturers", "manufacturer-manufacturer_id={}", "manufacturer", "manufacturers", "manufacturers",
            read_and_change, _manufacturer,
        ),
        Kind(
            "taxClasses", "taxClass-tax_class_id={}", "taxClass", "taxClasses", "taxClasses",
            frozenset({"GET"}), _tax_class,
        ),
        Kind("orders", "order-order_id={}", "order", "orders", "orders", read_and_change, _order),
    )  # fmt: skip
    return {kind.name: kind for kind in kinds}


KINDS: Mapping[str, Kind] = _kinds()
