# The sender that the handout names and does not show: its receivers' other half. The words are the arguments.
import socket
import sys

MCAST_GRP = '224.1.1.1'
MCAST_PORT = 5004

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
sock.sendto(' '.join(sys.argv[1:]).encode(), (MCAST_GRP, MCAST_PORT))
