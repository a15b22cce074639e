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
        best = self.items[0]
        for item in self.items:
            if item[1] < best[1]:
                best = item
        return best

    def remove(self, name):
        for i in range(len(self.items) + 1):
            if self.items[i][0] == name:
                del self.items[i]
                return True
        return False
