"""A pydantic tool: arguments are validated and converted before it is called, its result is a model too."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field

Room = Literal["single", "double", "suite"]
PRICES: dict[Room, Decimal] = {"single": Decimal(80), "double": Decimal(120), "suite": Decimal(300)}


class Guest(BaseModel):
    """Who stays."""

    name: str = Field(min_length=1, description="As in the passport")
    email: str | None = None


class Booking(BaseModel):
    """What was booked."""

    guest: Guest
    room: Room
    arrival: date
    departure: date
    price: Decimal


def book(
    guest: Guest, arrival: date, nights: Annotated[int, Field(gt=0, le=30)], room: Room = "single"
) -> Booking:
    """Book a room.

    :param guest: Who stays.
    :param arrival: The first day.
    :param nights: How many nights.
    :param room: The kind of room.
    :returns: The booking with its price.
    """
    departure = arrival + timedelta(days=nights)
    return Booking(guest=guest, room=room, arrival=arrival, departure=departure, price=PRICES[room] * nights)
