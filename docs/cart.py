"""A shopping cart."""


class Cart:
    def __init__(self, items=None):
        if items is None:
            items = []
        self.items = items

    def add(self, name, price, count=1):
        for _ in range(count):
            self.items.append((name, price))

    def total(self):
        return sum(price for name, price in self.items)

    def cheapest(self):
        if not self.items:
            return None
        return min(self.items, key=lambda item: item[1])

    def remove(self, name):
        for i in range(0, len(self.items) + 1):
            if self.items[i][0] == name:
                del self.items[i]
                return True
        return False
