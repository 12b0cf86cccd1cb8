# The handout's client 1. Mended: the second half of its loop, which a page break had moved out of it, is in it again.
import socket

s = socket.socket()
host = socket.gethostname()
port = 8080
s.connect((host, port))

print("Menyambungkan ke Server")

message = s.recv(1024)
message = message.decode()
print("Pesan dari server : ", message)

while 1:
    message = s.recv(1024)
    message = message.decode()
    print("Server: ", message)
    new_message = input("Masukkan Pesan: ")
    new_message = str(new_message).encode()
    s.send(new_message)
    print("Pesan Terkirim")
    message = s.recv(1024)
    message = message.decode()
    print("Client_2: ", message)
