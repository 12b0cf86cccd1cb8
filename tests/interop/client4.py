# The handout's exercise, four connections: client NUMBER of four, made from client 2. Each speaks when it is its turn.
import socket
import sys
number = int(sys.argv[1])
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
  print("Server : ", message)
  for client in (1, 2, 3, 4):
    if client == number:
      new_message = input("Masukkan Pesan : ")
      new_message = str(new_message).encode()
      s.send(new_message)
      print("Pesan Terkirim")
    else:
      message = s.recv(1024)
      message = message.decode()
      print("Client_%d : " % client, message)
