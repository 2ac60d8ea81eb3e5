from bind.cli import main

main()
